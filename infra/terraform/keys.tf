# Two keys, so that the roles of pods, which decrypt data, have no business with the one of the cluster's secrets.

resource "aws_kms_key" "data" {
  description             = "${var.name}: images, features and results"
  enable_key_rotation     = true
  deletion_window_in_days = var.deletion_protection ? 30 : 7
  policy                  = data.aws_iam_policy_document.data_key.json
}

resource "aws_kms_alias" "data" {
  name          = "alias/${var.name}-data"
  target_key_id = aws_kms_key.data.key_id
}

resource "aws_kms_key" "platform" {
  description             = "${var.name}: Kubernetes secrets, logs, alarms and images of containers"
  enable_key_rotation     = true
  deletion_window_in_days = var.deletion_protection ? 30 : 7
  policy                  = data.aws_iam_policy_document.platform_key.json
}

resource "aws_kms_alias" "platform" {
  name          = "alias/${var.name}-platform"
  target_key_id = aws_kms_key.platform.key_id
}

# In a key's policy the resource "*" is that key. The first statement lets IAM policies grant its use, and keeps the key
# from being locked out of its own account; it grants nothing by itself.
data "aws_iam_policy_document" "data_key" {
  #checkov:skip=CKV_AWS_109:A key's policy speaks of that key only
  #checkov:skip=CKV_AWS_111:A key's policy speaks of that key only
  #checkov:skip=CKV_AWS_356:A key's policy speaks of that key only
  statement {
    sid       = "IamPoliciesDecide"
    actions   = ["kms:*"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:${local.partition}:iam::${local.account}:root"]
    }
  }
}

data "aws_iam_policy_document" "platform_key" {
  #checkov:skip=CKV_AWS_109:A key's policy speaks of that key only
  #checkov:skip=CKV_AWS_111:A key's policy speaks of that key only
  #checkov:skip=CKV_AWS_356:A key's policy speaks of that key only
  source_policy_documents = [data.aws_iam_policy_document.data_key.json]

  statement {
    sid       = "LogGroups"
    actions   = ["kms:Encrypt*", "kms:Decrypt*", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:Describe*"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["logs.${local.region}.amazonaws.com"]
    }

    condition {
      test     = "ArnLike"
      variable = "kms:EncryptionContext:aws:logs:arn"
      values   = ["arn:${local.partition}:logs:${local.region}:${local.account}:log-group:*"]
    }
  }

  # Who publishes to an encrypted topic encrypts. Not bound to the account, which CloudWatch does not promise to name
  # here; the topic's own policy is
  statement {
    sid       = "Alarms"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey*"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com", "budgets.amazonaws.com"]
    }
  }
}
