# What the variables refuse: every variable that a run names must refuse its value, all of them in one plan.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  zones              = ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
  administrators     = ["arn:aws:iam::123456789012:role/admin"]
  alarm_emails       = ["night@example.org"]
  monthly_budget_usd = 500
}

run "wrong_form" {
  command = plan

  variables {
    name               = "LakeScore"
    administrators     = ["arn:aws:sts::123456789012:assumed-role/admin/me"]
    kubernetes_version = "1.35.1"
    api_cidrs          = ["203.0.113.7"]
    zones              = ["a", "b", "c"]
    vpc_cidr           = "10.0.0.0"
    egress             = "nat"
    lake_bucket        = "s3://factory"
    lake_prefix        = "parts/"
    weights_key        = "/weights"
    alarm_emails       = ["night"]
    log_days           = 100
    late_after_hours   = 1.5
    feature_days       = 20.5
  }

  expect_failures = [
    var.name, var.administrators, var.kubernetes_version, var.api_cidrs, var.zones, var.vpc_cidr, var.egress, var.lake_bucket,
    var.lake_prefix, var.weights_key, var.alarm_emails, var.log_days, var.late_after_hours, var.feature_days,
  ]
}

run "too_little" {
  command = plan

  variables {
    name                  = "a"
    administrators        = []
    kubernetes_version    = "1.28"
    zones                 = ["eu-central-1a", "eu-central-1b"]
    vpc_cidr              = "10.0.0.0/24"
    endpoint_zones        = 0
    lake_bucket           = "factory"
    lake_prefix           = ""
    lake_kms_key_arn      = "arn:aws:kms:eu-central-1:123456789012:alias/lake" # an alias is no key
    feature_days          = 7
    previous_version_days = 0
    alarm_emails          = []
    late_after_hours      = 0
    monthly_budget_usd    = 0
  }

  expect_failures = [
    var.name, var.administrators, var.kubernetes_version, var.zones, var.vpc_cidr, var.endpoint_zones,
    var.lake_prefix, var.lake_kms_key_arn, var.feature_days, var.previous_version_days, var.alarm_emails, var.late_after_hours, var.monthly_budget_usd,
  ]
}

run "too_much" {
  command = plan

  variables {
    name             = "a-name-that-is-longer-than-thirty"
    api_cidrs        = ["0.0.0.0/0"]
    zones            = ["eu-central-1a", "eu-central-1a", "eu-central-1b"]
    vpc_cidr         = "10.0.0.0/8"
    endpoint_zones   = 4
    lake_prefix      = "*"
    lake_kms_key_arn = "arn:aws:kms:eu-central-1:123456789012:key/0a1b" # of which lake?
    weights_key      = "weights/*"
    late_after_hours = 169
  }

  expect_failures = [
    var.name, var.api_cidrs, var.zones, var.vpc_cidr, var.endpoint_zones, var.lake_prefix, var.lake_kms_key_arn, var.weights_key,
    var.late_after_hours,
  ]
}

run "everybody_in_halves" {
  command = plan

  variables {
    api_cidrs = ["0.0.0.0/1", "128.0.0.0/1"]
  }

  expect_failures = [var.api_cidrs]
}
