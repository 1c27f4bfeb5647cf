# To try it out: nodes with public addresses, a bucket for the lake, everything gone by terraform destroy.

terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

variable "administrators" {
  description = "ARNs of the IAM roles and users that may administer the cluster."
  type        = set(string)
}

variable "api_cidrs" {
  description = "Networks that reach the Kubernetes API, such as your own address as 203.0.113.7/32."
  type        = set(string)
}

variable "alarm_emails" {
  description = "Addresses that alarms and the budget write to."
  type        = set(string)
}

provider "aws" {
  region = "us-east-1"

  default_tags {
    tags = { Project = "lakescore" }
  }
}

module "lakescore" {
  source = "../.."

  zones               = ["us-east-1a", "us-east-1b", "us-east-1c"]
  administrators      = var.administrators
  api_cidrs           = var.api_cidrs
  alarm_emails        = var.alarm_emails
  egress              = "public"
  weights_key         = "weights/vit_large_patch14_reg4_dinov2.safetensors"
  monthly_budget_usd  = 200
  deletion_protection = false
}

output "lakescore" {
  description = "All outputs of the module."
  value       = module.lakescore
}
