# How the stack is deployed. What the workload is made from is in workload.tf.

variable "template_bucket" {
  description = "Bucket of your own to which the template is uploaded, which is too long to be sent to CloudFormation itself; best made in the same configuration."
  type        = string
}

variable "template_kms_key_arn" {
  description = "Key that encrypts the uploaded template; whoever runs Terraform needs kms:GenerateDataKey and kms:Decrypt. Default: S3's own key."
  type        = string
  default     = null
}

variable "template_file" {
  description = "Where workload.yaml is, of the same version, if the module is used without its repository."
  type        = string
  default     = null
}

variable "stack_name" {
  description = "Name of the stack; the policies in docs/policies read the stacks whose names begin with sluice-. Default: sluice-<name>."
  type        = string
  default     = null
}

variable "iam_role_arn" {
  description = "Role with which CloudFormation makes the resources. Default: the permissions of whoever runs Terraform."
  type        = string
  default     = null
}

variable "notification_arns" {
  description = "SNS topics that hear of the stack's own events, such as a failed update."
  type        = list(string)
  default     = []
}

variable "tags" {
  description = "Tags of the stack, which CloudFormation puts on its resources."
  type        = map(string)
  default     = {}
}
