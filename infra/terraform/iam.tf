# What pods may do: three roles, each bound to its service accounts by pod identity. policies.tf has their policies.

locals {
  roles = {
    run       = ["lakescore-head", "lakescore-worker"]
    reader    = ["lakescore-reader"]
    collector = ["lakescore-collector"]
  }

  policies = {
    run       = concat(local.run_policy, local.lake_key_policy)
    reader    = local.reader_policy
    collector = local.collector_policy
  }

  service_accounts = merge([for role, accounts in local.roles : { for account in accounts : account => role }]...)
}

resource "aws_iam_role" "pod" {
  for_each = local.roles

  name               = "${var.name}-${each.key}"
  assume_role_policy = data.aws_iam_policy_document.pod_trust[each.key].json
}

data "aws_iam_policy_document" "pod_trust" {
  for_each = local.roles

  statement {
    actions = ["sts:AssumeRole", "sts:TagSession"]

    principals {
      type        = "Service"
      identifiers = ["pods.eks.amazonaws.com"]
    }

    # Otherwise any cluster of the account could bind the role
    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/eks-cluster-name"
      values   = [var.name]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/kubernetes-namespace"
      values   = [local.namespace]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/kubernetes-service-account"
      values   = each.value
    }
  }
}

resource "aws_iam_role_policy" "pod" {
  for_each = local.roles

  name   = each.key
  role   = aws_iam_role.pod[each.key].name
  policy = jsonencode({ Version = "2012-10-17", Statement = local.policies[each.key] })
}

resource "aws_eks_pod_identity_association" "pod" {
  for_each = local.service_accounts

  cluster_name    = aws_eks_cluster.this.name
  namespace       = local.namespace
  service_account = each.key
  role_arn        = aws_iam_role.pod[each.value].arn
}
