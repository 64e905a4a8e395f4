# Two workloads of one control plane. From another repository, name this one and a commit:
# source = "git::https://git.example/sluice.git//examples/terraform?ref=<commit>"

provider "aws" {
  region = var.region
}

variable "region" {
  description = "Region of the control plane."
  type        = string
}

# Whoever owns the bucket decides what is deployed, and anybody may own the name of one that is gone: so it is made here.
resource "aws_s3_bucket" "templates" {
  # checkov:skip=CKV_AWS_18:it holds copies of a file of this repository, which only this configuration reads
  # checkov:skip=CKV_AWS_21:each content has a key of its own
  # checkov:skip=CKV_AWS_144:a copy is made again by the next apply
  # checkov:skip=CKV_AWS_145:the template holds no secret; S3 encrypts it with a key of its own
  # checkov:skip=CKV2_AWS_61:a template that no stack uses any more is deleted by the apply
  # checkov:skip=CKV2_AWS_62:nothing waits for a template

  bucket_prefix = "sluice-templates-"
}

resource "aws_s3_bucket_public_access_block" "templates" {
  bucket = aws_s3_bucket.templates.id

  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

module "transcription" {
  source = "../"

  template_bucket         = aws_s3_bucket.templates.id
  control_plane_stack     = "sluice"
  name                    = "transcription"
  queue_name              = "transcription"
  fleet_type              = "asg"
  auto_scaling_group_name = "transcription"
  max_capacity            = 5
  messages_per_instance   = 8
  processing_seconds      = 60
  instance_warmup_seconds = 180
}

module "report_export" {
  source = "../"

  template_bucket            = aws_s3_bucket.templates.id
  control_plane_stack        = "sluice"
  name                       = "report-export"
  queue_name                 = "report-export"
  fleet_type                 = "ecs"
  cluster_name               = "workers"
  service_name               = "report-export"
  max_capacity               = 20
  scaling                    = "deadline"
  acceptable_latency_seconds = 180
  promise_percent            = 97
  tick_seconds               = 20
  concurrency_per_instance   = 4
  processing_seconds         = 20
  boot_seconds               = 60
}
