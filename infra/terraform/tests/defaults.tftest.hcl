# What is made with the defaults and the four variables that have none.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  zones              = ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
  administrators     = ["arn:aws:iam::123456789012:role/admin"]
  alarm_emails       = ["night@example.org"]
  monthly_budget_usd = 500
}

run "network" {
  assert {
    condition     = tolist(aws_subnet.nodes[*].availability_zone) == tolist(["eu-central-1a", "eu-central-1b", "eu-central-1c"])
    error_message = "nodes must have a subnet in each zone"
  }

  assert {
    condition     = tolist(aws_subnet.nodes[*].cidr_block) == tolist(["10.42.0.0/18", "10.42.64.0/18", "10.42.128.0/18"])
    error_message = "each zone must get a quarter of the VPC"
  }

  assert {
    condition     = aws_vpc_endpoint.s3.vpc_endpoint_type == "Gateway" && contains(aws_vpc_endpoint.s3.route_table_ids, aws_route_table.nodes.id)
    error_message = "S3 must be reached by a gateway endpoint that the nodes' routes know"
  }

  assert {
    condition     = length(aws_route.internet) + length(aws_internet_gateway.this) == 0 && !anytrue(aws_subnet.nodes[*].map_public_ip_on_launch)
    error_message = "private nodes must have no way out and no public address"
  }

  assert {
    condition     = alltrue([for endpoint in aws_vpc_endpoint.aws : endpoint.private_dns_enabled && length(endpoint.subnet_ids) == 1])
    error_message = "each interface endpoint must have a private name, and stand in one zone"
  }

  assert {
    condition     = length(aws_default_security_group.closed.ingress) + length(aws_default_security_group.closed.egress) == 0
    error_message = "the default security group must let nothing through"
  }
}

run "cluster" {
  assert {
    condition = (
      aws_eks_cluster.this.compute_config[0].enabled
      && aws_eks_cluster.this.kubernetes_network_config[0].elastic_load_balancing[0].enabled
      && aws_eks_cluster.this.storage_config[0].block_storage[0].enabled
      && !aws_eks_cluster.this.bootstrap_self_managed_addons
    )
    error_message = "Auto Mode is compute, load balancing and storage together, and brings its own add-ons"
  }

  assert {
    condition     = aws_eks_cluster.this.vpc_config[0].endpoint_private_access && !aws_eks_cluster.this.vpc_config[0].endpoint_public_access
    error_message = "the API must be private as long as api_cidrs names nobody"
  }

  assert {
    condition     = length(aws_eks_cluster.this.enabled_cluster_log_types) == 5 && aws_eks_cluster.this.encryption_config[0].provider[0].key_arn == aws_kms_key.platform.arn
    error_message = "the cluster must log everything, and encrypt secrets with the platform's key"
  }

  assert {
    condition     = !aws_eks_cluster.this.access_config[0].bootstrap_cluster_creator_admin_permissions && keys(aws_eks_access_entry.administrator) == ["arn:aws:iam::123456789012:role/admin"]
    error_message = "administrators must be those that are named, and nobody else"
  }

  assert {
    condition     = aws_eks_access_entry.node.type == "EC2" && endswith(aws_eks_access_policy_association.node.policy_arn, "/AmazonEKSAutoNodePolicy")
    error_message = "nodes of our own NodePools must be let into the cluster"
  }

  assert {
    condition = { for account, bound in aws_eks_pod_identity_association.pod : account => "${bound.namespace} ${bound.service_account}" } == {
      lakescore-head      = "lakescore lakescore-head"
      lakescore-worker    = "lakescore lakescore-worker"
      lakescore-reader    = "lakescore lakescore-reader"
      lakescore-collector = "lakescore lakescore-collector"
    }
    error_message = "each service account that reaches S3 must be bound, and no other"
  }
}

run "storage" {
  assert {
    condition = { for key, bucket in aws_s3_bucket.ours : key => bucket.bucket } == {
      lake    = "lakescore-lake-123456789012"
      results = "lakescore-results-123456789012"
    }
    error_message = "without lake_bucket there must be a bucket for the lake and one for results"
  }

  assert {
    condition     = !anytrue([for bucket in aws_s3_bucket.ours : bucket.force_destroy]) && !aws_ecr_repository.this.force_delete
    error_message = "what holds something must withstand terraform destroy"
  }

  assert {
    condition = alltrue([
      for block in aws_s3_bucket_public_access_block.ours :
      block.block_public_acls && block.block_public_policy && block.ignore_public_acls && block.restrict_public_buckets
    ]) && length(aws_s3_bucket_public_access_block.ours) == 2
    error_message = "no bucket may be public, in any way"
  }

  assert {
    condition     = [for of in aws_s3_bucket_versioning.ours : of.versioning_configuration[0].status] == ["Enabled", "Enabled"]
    error_message = "both buckets must keep versions"
  }

  assert {
    condition = alltrue([
      for of in aws_s3_bucket_server_side_encryption_configuration.ours :
      one(one(of.rule).apply_server_side_encryption_by_default).kms_master_key_id == aws_kms_key.data.arn
    ]) && length(aws_s3_bucket_server_side_encryption_configuration.ours) == 2
    error_message = "both buckets must be encrypted with the data's key"
  }

  assert {
    condition = { for rule in aws_s3_bucket_lifecycle_configuration.ours["results"].rule : try(rule.filter[0].prefix, "-") => try(rule.expiration[0].days, 0) if rule.id != "remains" } == {
      "scores/features/" = 90
      "scores/work/"     = 30
      "scores/locks/"    = 30
    }
    error_message = "features, work and locks must expire, and nothing else"
  }

  assert {
    condition = alltrue([
      for of in aws_s3_bucket_lifecycle_configuration.ours :
      of.rule[0].abort_incomplete_multipart_upload[0].days_after_initiation == 3
      && of.rule[0].noncurrent_version_expiration[0].noncurrent_days == 30
    ]) && length(aws_s3_bucket_lifecycle_configuration.ours["lake"].rule) == 1
    error_message = "incomplete uploads and previous versions must go, and nothing of the lake's but these"
  }

  assert {
    condition     = aws_ecr_repository.this.image_scanning_configuration[0].scan_on_push && aws_ecr_repository.this.image_tag_mutability == "IMMUTABLE"
    error_message = "images must be scanned, and tags stay what they are"
  }
}

run "observability" {
  assert {
    condition     = alltrue([for group in aws_cloudwatch_log_group.this : group.retention_in_days == 365 && group.kms_key_id == aws_kms_key.platform.arn])
    error_message = "every log group must have an end and a key"
  }

  assert {
    condition     = length(aws_eks_addon.container_logs) == 0
    error_message = "the add-on must wait until there are NodePools"
  }

  assert {
    condition = jsondecode(aws_cloudwatch_event_rule.published.event_pattern) == {
      source        = ["aws.s3"]
      "detail-type" = ["Object Created"]
      detail = {
        bucket = { name = ["lakescore-results-123456789012"] }
        object = { key = ["scores/latest.json"] }
      }
    }
    error_message = "the rule must match the object that a published run writes last"
  }

  assert {
    condition = (
      aws_s3_bucket_notification.results.eventbridge
      && aws_cloudwatch_metric_alarm.late.dimensions.RuleName == "lakescore-published"
      && aws_cloudwatch_metric_alarm.late.treat_missing_data == "breaching"
      && aws_cloudwatch_metric_alarm.late.period * aws_cloudwatch_metric_alarm.late.evaluation_periods == 26 * 3600
    )
    error_message = "26 hours without an event of the results' bucket must be an alarm"
  }

  assert {
    condition     = alltrue([for alarm in [aws_cloudwatch_metric_alarm.late, aws_cloudwatch_metric_alarm.failed] : one(alarm.alarm_actions) == aws_sns_topic.alarms.arn])
    error_message = "alarms must go to the topic"
  }

  assert {
    condition     = { for of in aws_budgets_budget.month.notification : of.notification_type => of.threshold } == { ACTUAL = 80, FORECASTED = 100 }
    error_message = "the budget must write at 80 % of it, and when the forecast exceeds it"
  }
}

run "outputs" {
  assert {
    condition = (
      output.cluster_name == "lakescore"
      && output.region == "eu-central-1"
      && output.namespace == "lakescore"
      && output.lake_uri == "s3://lakescore-lake-123456789012/parts"
      && endswith(output.output_uri, "/scores")
      && output.quay_mirror == "123456789012.dkr.ecr.eu-central-1.amazonaws.com/lakescore-quay"
      && output.node_role_name == "lakescore-node"
      && output.log_group == "/aws/containerinsights/lakescore/application"
      && output.kubeconfig_command == "aws eks update-kubeconfig --region eu-central-1 --name lakescore"
    )
    error_message = "outputs must be what infra/k8s and score.yaml name"
  }
}
