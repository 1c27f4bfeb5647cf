terraform {
  required_version = ">= 1.11" # use_lockfile of the S3 backend; override_during of the tests

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}
