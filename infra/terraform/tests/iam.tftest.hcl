# With the real provider, which renders who may take the roles; nothing is asked of AWS, which would refuse these credentials.

provider "aws" {
  region                      = "eu-central-1"
  access_key                  = "false"
  secret_key                  = "false"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

override_data {
  target = data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

override_resource {
  target          = aws_kms_key.data
  override_during = plan
  values          = { arn = "arn:aws:kms:eu-central-1:123456789012:key/data" }
}

variables {
  zones              = ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
  administrators     = ["arn:aws:iam::123456789012:role/admin"]
  alarm_emails       = ["night@example.org"]
  monthly_budget_usd = 500
  lake_bucket        = "factory"
  lake_kms_key_arn   = "arn:aws:kms:eu-central-1:123456789012:key/0a1b"
  weights_key        = "weights/vit.safetensors"
}

run "policies" {
  command = plan

  assert {
    condition = { for role, policy in aws_iam_role_policy.pod : role => sort(distinct(flatten(jsondecode(policy.policy).Statement[*].Action))) } == {
      run       = tolist(["kms:Decrypt", "kms:GenerateDataKey", "s3:DeleteObject", "s3:GetObject", "s3:ListBucket", "s3:PutObject"])
      reader    = tolist(["kms:Decrypt", "s3:GetObject", "s3:ListBucket"])
      collector = tolist(["kms:Decrypt", "s3:DeleteObject", "s3:GetObject", "s3:ListBucket"])
    }
    error_message = "the actions of each role are these, and no other"
  }

  assert {
    condition = alltrue(flatten([
      for policy in aws_iam_role_policy.pod : [
        for statement in jsondecode(policy.policy).Statement : [
          for resource in flatten([statement.Resource]) : anytrue([
            resource == "arn:aws:s3:::factory" && statement.Sid == "ListTheLake",
            startswith(resource, "arn:aws:s3:::factory/parts") && statement.Action == "s3:GetObject",
            resource == "arn:aws:s3:::factory/weights/vit.safetensors" && statement.Action == "s3:GetObject",
            resource == "arn:aws:s3:::lakescore-results-123456789012" && statement.Action == "s3:ListBucket",
            startswith(resource, "arn:aws:s3:::lakescore-results-123456789012/scores/"),
            resource == "arn:aws:kms:eu-central-1:123456789012:key/data",
            resource == "arn:aws:kms:eu-central-1:123456789012:key/0a1b" && statement.Action == "kms:Decrypt",
          ])
        ]
      ]
    ]))
    error_message = "roles may reach the lake's prefix, the weights, the scores and their keys, and nothing else"
  }

  assert {
    condition = alltrue(flatten([
      for policy in aws_iam_role_policy.pod : [
        for statement in jsondecode(policy.policy).Statement :
        statement.Effect == "Allow" && !can(statement.NotAction) && !can(statement.NotResource) && !strcontains(jsonencode(statement.Action), "*")
      ]
    ]))
    error_message = "statements must allow, and name each action"
  }

  assert {
    condition     = length([for statement in jsondecode(aws_iam_role_policy.pod["reader"].policy).Statement : statement if strcontains(jsonencode(statement), "factory")]) == 0
    error_message = "who reads runs must not reach the lake"
  }

  assert {
    condition = alltrue([
      for role in aws_iam_role.pod :
      jsonencode(jsondecode(role.assume_role_policy).Statement[*].Principal) == jsonencode([{ Service = "pods.eks.amazonaws.com" }])
    ]) && length(aws_iam_role.pod) == 3
    error_message = "nobody but pods may take the three roles"
  }

  assert {
    condition = { for role, trust in aws_iam_role.pod : role => jsondecode(trust.assume_role_policy).Statement[0].Condition.StringEquals["aws:RequestTag/kubernetes-service-account"] } == {
      run       = ["lakescore-head", "lakescore-worker"]
      reader    = "lakescore-reader"
      collector = "lakescore-collector"
    }
    error_message = "each role is for its own service accounts"
  }
}
