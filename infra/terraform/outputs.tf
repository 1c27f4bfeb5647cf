output "cluster_name" {
  description = "Name of the cluster, and the tag by which the NodeClass finds subnets and security group."
  value       = aws_eks_cluster.this.name
}

output "region" {
  description = "Region of everything here."
  value       = local.region
}

output "namespace" {
  description = "Kubernetes namespace that the roles are bound in."
  value       = local.namespace
}

output "lake_uri" {
  description = "input.uri of score.yaml."
  value       = "s3://${local.lake_bucket}/${var.lake_prefix}"
}

output "output_uri" {
  description = "output.uri of score.yaml."
  value       = "s3://${aws_s3_bucket.ours["results"].id}/${local.prefix}"
}

output "image_repository" {
  description = "Where the image is pushed to, and what the overlays' images name."
  value       = aws_ecr_repository.this.repository_url
}

output "quay_mirror" {
  description = "What stands for quay.io in the addresses of images that nodes without a way out pull."
  value       = "${local.account}.dkr.ecr.${local.region}.amazonaws.com/${aws_ecr_pull_through_cache_rule.quay.ecr_repository_prefix}"
}

output "run_role_arn" {
  description = "Role of Ray's head and workers: reads the lake, writes features and runs."
  value       = aws_iam_role.pod["run"].arn
}

output "reader_role_arn" {
  description = "Role of who reads published runs."
  value       = aws_iam_role.pod["reader"].arn
}

output "collector_role_arn" {
  description = "Role of the job that drops features which no run uses."
  value       = aws_iam_role.pod["collector"].arn
}

output "node_role_name" {
  description = "Role that the NodeClass names."
  value       = aws_iam_role.node.name
}

output "log_group" {
  description = "Log group of the pods, with container_logs."
  value       = aws_cloudwatch_log_group.this["application"].name
}

output "alarm_topic_arn" {
  description = "Topic of all alarms, for whoever else should hear of them."
  value       = aws_sns_topic.alarms.arn
}

output "kubeconfig_command" {
  description = "Command that gives kubectl access, for an administrator."
  value       = "aws eks update-kubeconfig --region ${local.region} --name ${aws_eks_cluster.this.name}"
}
