# Two workloads of one control plane. From another repository, name this one and a commit:
# source = "git::https://git.example/sluice.git//examples/terraform?ref=<commit>"

provider "aws" {
  region = var.region
}

variable "region" {
  description = "Region of the control plane."
  type        = string
}

variable "template_bucket" {
  description = "Bucket of this account and region for templates."
  type        = string
}

module "transcription" {
  source = "../"

  template_bucket         = var.template_bucket
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

  template_bucket            = var.template_bucket
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
