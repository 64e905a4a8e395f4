# A workload of Sluice: the stack of workload.yaml, whose parameters are the variables of workload.tf.

locals {
  stack_name    = coalesce(var.stack_name, "sluice-${var.name}")
  template_file = coalesce(var.template_file, "${path.module}/../../workload.yaml")
}

data "aws_s3_bucket" "templates" {
  bucket = var.template_bucket
}

resource "aws_s3_object" "template" {
  bucket                 = var.template_bucket
  key                    = "sluice/${local.stack_name}/${filesha256(local.template_file)}.yaml"
  source                 = local.template_file
  content_type           = "application/yaml"
  server_side_encryption = var.template_kms_key_arn == null ? "AES256" : "aws:kms"
  kms_key_id             = var.template_kms_key_arn

  # The stack takes the new template before the old one goes.
  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_cloudformation_stack" "workload" {
  # checkov:skip=CKV_AWS_124:notification_arns names topics, if there are any

  name = local.stack_name
  # The key has the template's hash: a stack is updated only if its URL or a parameter changes.
  template_url = "https://${data.aws_s3_bucket.templates.bucket_regional_domain_name}/${aws_s3_object.template.key}"
  parameters   = local.parameters

  iam_role_arn      = var.iam_role_arn
  notification_arns = var.notification_arns
  tags              = var.tags

  lifecycle {
    precondition {
      condition     = length(local.broken_rules) == 0
      error_message = join("\n", local.broken_rules)
    }
  }
}

output "stack_id" {
  description = "The stack, which `sluice explain` and `sluice cost` read."
  value       = aws_cloudformation_stack.workload.id
}
