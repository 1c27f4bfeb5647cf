# Log groups, made here so that each has a key and an end; and the add-on that brings the logs of pods.

locals {
  log_groups = {
    cluster     = "/aws/eks/${var.name}/cluster"        # named by EKS
    published   = "/aws/events/${var.name}/published"   # EventBridge may write below /aws/events alone
    application = "${local.container_logs}/application" # these four are named by the add-on
    dataplane   = "${local.container_logs}/dataplane"
    host        = "${local.container_logs}/host"
    performance = "${local.container_logs}/performance"
  }

  container_logs = "/aws/containerinsights/${var.name}"
}

resource "aws_cloudwatch_log_group" "this" {
  for_each = local.log_groups

  name              = each.value
  retention_in_days = var.log_days
  kms_key_id        = aws_kms_key.platform.arn
}

# Waits until its pods run, which they cannot before there are NodePools
resource "aws_eks_addon" "container_logs" {
  count = var.container_logs ? 1 : 0

  cluster_name = aws_eks_cluster.this.name
  addon_name   = "amazon-cloudwatch-observability"

  # Logs only: metrics are Prometheus's (infra/monitoring), and cost here by the observation
  configuration_values = jsonencode({
    agent = { config = { logs = { metrics_collected = { kubernetes = { enhanced_container_insights = false } } } } }
  })

  pod_identity_association {
    service_account = "cloudwatch-agent"
    role_arn        = aws_iam_role.agent[0].arn
  }

  depends_on = [aws_cloudwatch_log_group.this]
}

resource "aws_iam_role" "agent" {
  count = var.container_logs ? 1 : 0

  name               = "${var.name}-cloudwatch-agent"
  assume_role_policy = data.aws_iam_policy_document.agent_trust.json
}

data "aws_iam_policy_document" "agent_trust" {
  statement {
    actions = ["sts:AssumeRole", "sts:TagSession"]

    principals {
      type        = "Service"
      identifiers = ["pods.eks.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/eks-cluster-name"
      values   = [var.name]
    }
  }
}

# The policy that AWS asks for with the add-on
resource "aws_iam_role_policy_attachment" "agent" {
  count = var.container_logs ? 1 : 0

  role       = aws_iam_role.agent[0].name
  policy_arn = "arn:${local.partition}:iam::aws:policy/CloudWatchAgentServerPolicy"
}
