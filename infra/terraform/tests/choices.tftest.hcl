# What the variables with a choice change.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  zones              = ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
  administrators     = ["arn:aws:iam::123456789012:role/admin"]
  alarm_emails       = ["night@example.org"]
  monthly_budget_usd = 500
}

run "public_nodes" {
  variables {
    egress = "public"
  }

  assert {
    condition     = alltrue(aws_subnet.nodes[*].map_public_ip_on_launch) && aws_route.internet[0].destination_cidr_block == "0.0.0.0/0"
    error_message = "public nodes must have an address and a way out"
  }

  assert {
    condition     = length(aws_vpc_endpoint.aws) + length(aws_security_group.endpoints) == 0
    error_message = "public nodes need no interface endpoints, which cost by the hour"
  }
}

run "endpoints_in_three_zones" {
  variables {
    endpoint_zones = 3
  }

  assert {
    condition     = alltrue([for endpoint in aws_vpc_endpoint.aws : length(endpoint.subnet_ids) == 3]) && length(aws_vpc_endpoint.aws) > 0
    error_message = "each endpoint must stand in three zones"
  }
}

run "api_for_an_office" {
  variables {
    api_cidrs = ["203.0.113.0/24"]
  }

  assert {
    condition     = aws_eks_cluster.this.vpc_config[0].endpoint_public_access && aws_eks_cluster.this.vpc_config[0].public_access_cidrs == toset(["203.0.113.0/24"])
    error_message = "the API must be open to the office alone"
  }
}

run "existing_lake" {
  variables {
    lake_bucket = "factory"
    lake_prefix = "line-7/images"
  }

  assert {
    condition     = keys(aws_s3_bucket.ours) == ["results"] && output.lake_uri == "s3://factory/line-7/images"
    error_message = "an existing lake must be used, and left as it is"
  }
}

run "to_try_it_out" {
  variables {
    deletion_protection = false
    log_days            = 30
    feature_days        = 14
  }

  assert {
    condition     = aws_s3_bucket.ours["results"].force_destroy && aws_ecr_repository.this.force_delete && aws_kms_key.data.deletion_window_in_days == 7
    error_message = "without protection, terraform destroy must take everything"
  }

  assert {
    condition     = contains([for rule in aws_s3_bucket_lifecycle_configuration.ours["results"].rule : rule.expiration[0].days], 14)
    error_message = "features must expire after feature_days"
  }
}

run "container_logs" {
  variables {
    container_logs = true
  }

  assert {
    condition     = aws_eks_addon.container_logs[0].addon_name == "amazon-cloudwatch-observability" && length(aws_iam_role.agent) == 1
    error_message = "the logs of pods come by the add-on, with a role of its own"
  }
}
