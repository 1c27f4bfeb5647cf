locals {
  buckets = merge(
    { results = local.results_bucket },
    local.lake_is_ours ? { lake = local.lake_bucket } : {},
  )
}

resource "aws_s3_bucket" "ours" {
  #checkov:skip=CKV_AWS_18:CloudTrail's data events say who read what; a bucket of access logs would be one more to keep
  #checkov:skip=CKV_AWS_144:Results are derived from the lake, versioned, and as safe as the region
  #checkov:skip=CKV2_AWS_62:Events are sent for the results, where something waits for them
  for_each = local.buckets

  bucket        = each.value
  force_destroy = !var.deletion_protection
}

resource "aws_s3_bucket_public_access_block" "ours" {
  for_each = aws_s3_bucket.ours

  bucket                  = each.value.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_versioning" "ours" {
  for_each = aws_s3_bucket.ours

  bucket = each.value.id

  versioning_configuration {
    status = "Enabled"
  }
}

# A key of ours, not SSE-S3: whoever is given the bucket by mistake still reads nothing
resource "aws_s3_bucket_server_side_encryption_configuration" "ours" {
  for_each = aws_s3_bucket.ours

  bucket = each.value.id

  rule {
    bucket_key_enabled = true # a request to KMS for a bucket now and then, not for each object

    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.data.arn
    }
  }
}

resource "aws_s3_bucket_policy" "ours" {
  for_each = aws_s3_bucket.ours

  bucket = each.value.id
  policy = data.aws_iam_policy_document.https_only[each.key].json

  depends_on = [aws_s3_bucket_public_access_block.ours] # S3 refuses two changes of a bucket at once
}

data "aws_iam_policy_document" "https_only" {
  for_each = local.buckets

  statement {
    sid       = "HttpsOnly"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.ours[each.key].arn, "${aws_s3_bucket.ours[each.key].arn}/*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "ours" {
  for_each = aws_s3_bucket.ours

  bucket = each.value.id

  rule {
    id     = "remains"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 3
    }

    noncurrent_version_expiration {
      noncurrent_days = var.previous_version_days
    }

    expiration {
      expired_object_delete_marker = true
    }
  }

  # Runs stay. A run removes its work and locks itself: these are of runs that nobody took up. No live lock is as old,
  # since it is written again every few seconds
  dynamic "rule" {
    for_each = each.key == "results" ? { features = var.feature_days, work = 30, locks = 30 } : {}

    content {
      id     = rule.key
      status = "Enabled"

      filter {
        prefix = "${local.prefix}/${rule.key}/"
      }

      expiration {
        days = rule.value
      }
    }
  }

  depends_on = [aws_s3_bucket_versioning.ours]
}
