data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.name

  # Agreed with infra/k8s, score.yaml and docs/security.md
  namespace = "lakescore"
  prefix    = "scores"

  results_bucket = "${var.name}-results-${local.account}"
  lake_bucket    = coalesce(var.lake_bucket, "${var.name}-lake-${local.account}")
  lake_is_ours   = var.lake_bucket == null
}
