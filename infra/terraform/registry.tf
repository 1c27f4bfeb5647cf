resource "aws_ecr_repository" "this" {
  name                 = var.name
  image_tag_mutability = "IMMUTABLE" # what a tag named yesterday, it names tomorrow
  force_delete         = !var.deletion_protection

  image_scanning_configuration {
    scan_on_push = true
  }

  encryption_configuration {
    encryption_type = "KMS"
    kms_key         = aws_kms_key.platform.arn
  }
}

resource "aws_ecr_lifecycle_policy" "this" {
  repository = aws_ecr_repository.this.name
  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "Images are several GB: keep the newest ten"
      selection    = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = 10 }
      action       = { type = "expire" }
    }]
  })
}

# KubeRay's operator is on quay.io, which private nodes do not reach. The first pull of an image has to come from outside
# of the VPC, by somebody who may create repositories: docker pull <quay_mirror>/kuberay/operator:<version>
resource "aws_ecr_pull_through_cache_rule" "quay" {
  ecr_repository_prefix = "${var.name}-quay"
  upstream_registry_url = "quay.io"
}
