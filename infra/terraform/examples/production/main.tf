# For every night: private nodes without a way out but AWS, an existing lake, weights beside it, state in a bucket with a lock.

terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }

  # terraform init -backend-config=bucket=<bucket of states, versioned>
  backend "s3" {
    key          = "lakescore/terraform.tfstate"
    region       = "eu-central-1"
    encrypt      = true
    use_lockfile = true
  }
}

provider "aws" {
  region = "eu-central-1"

  default_tags {
    tags = { Project = "lakescore", Environment = "production" }
  }
}

module "lakescore" {
  source = "../.."

  administrators = var.administrators
  api_cidrs      = var.api_cidrs

  zones          = ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
  egress         = "endpoints"
  endpoint_zones = 2 # one zone may fail

  lake_bucket      = var.lake_bucket
  lake_prefix      = var.lake_prefix
  lake_kms_key_arn = var.lake_kms_key_arn
  weights_key      = var.weights_key

  alarm_emails       = var.alarm_emails
  monthly_budget_usd = var.monthly_budget_usd
  container_logs     = var.container_logs
}

output "lakescore" {
  description = "All outputs of the module."
  value       = module.lakescore
}
