resource "aws_sns_topic" "alarms" {
  name              = "${var.name}-alarms"
  kms_master_key_id = aws_kms_key.platform.arn
}

resource "aws_sns_topic_subscription" "email" {
  for_each = var.alarm_emails

  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = each.key
}

resource "aws_sns_topic_policy" "alarms" {
  arn    = aws_sns_topic.alarms.arn
  policy = data.aws_iam_policy_document.alarms.json
}

data "aws_iam_policy_document" "alarms" {
  statement {
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.alarms.arn]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com", "budgets.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

# A run writes latest.json last, and only when it is published. So the bucket's own events say when there was a run, and
# nothing in the cluster has to be alive to miss it: a run that failed, hangs, or was never started is late.

resource "aws_s3_bucket_notification" "results" {
  bucket      = aws_s3_bucket.ours["results"].id
  eventbridge = true
}

resource "aws_cloudwatch_event_rule" "published" {
  name        = "${var.name}-published"
  description = "A run was published"
  event_pattern = jsonencode({
    source        = ["aws.s3"]
    "detail-type" = ["Object Created"]
    detail = {
      bucket = { name = [local.results_bucket] }
      object = { key = ["${local.prefix}/latest.json"] }
    }
  })
}

# A rule counts its invocations, so it needs something to invoke; this one is also the list of when runs were published
resource "aws_cloudwatch_event_target" "published" {
  rule = aws_cloudwatch_event_rule.published.name
  arn  = aws_cloudwatch_log_group.this["published"].arn

  depends_on = [aws_cloudwatch_log_resource_policy.events]
}

resource "aws_cloudwatch_log_resource_policy" "events" {
  policy_name     = "${var.name}-events"
  policy_document = data.aws_iam_policy_document.events.json
}

data "aws_iam_policy_document" "events" {
  statement {
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.this["published"].arn}:*"]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com", "delivery.logs.amazonaws.com"]
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "late" {
  alarm_name        = "${var.name}-run-late"
  alarm_description = "No run was published for ${var.late_after_hours} hours: it failed, hangs, or was not started. See docs/runbook.md."

  namespace   = "AWS/Events"
  metric_name = "Invocations"
  dimensions  = { RuleName = aws_cloudwatch_event_rule.published.name }
  statistic   = "Sum"

  comparison_operator = "LessThanThreshold"
  threshold           = 1
  period              = 3600
  evaluation_periods  = var.late_after_hours
  treat_missing_data  = "breaching" # the metric is there only in hours with a run

  alarm_actions = [aws_sns_topic.alarms.arn]
  ok_actions    = [aws_sns_topic.alarms.arn]
}

# Sooner than late, where the logs of pods are collected: a job's last line when it ends with an error
resource "aws_cloudwatch_log_metric_filter" "failed" {
  name           = "${var.name}-run-failed"
  log_group_name = aws_cloudwatch_log_group.this["application"].name
  pattern        = "\"error: \" \"exit_code\""

  metric_transformation {
    namespace = "LakeScore"
    name      = "${var.name}-failed"
    value     = "1"
  }
}

resource "aws_cloudwatch_metric_alarm" "failed" {
  alarm_name        = "${var.name}-run-failed"
  alarm_description = "A job of LakeScore ended with an error; its last line is in ${local.log_groups["application"]}. See docs/runbook.md."

  namespace   = "LakeScore"
  metric_name = aws_cloudwatch_log_metric_filter.failed.metric_transformation[0].name
  statistic   = "Sum"

  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = 1
  period              = 300
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"

  alarm_actions = [aws_sns_topic.alarms.arn]
}

# Of the whole account: a budget for tags counts nothing until somebody activates them for cost allocation
resource "aws_budgets_budget" "month" {
  name         = "${var.name}-month"
  budget_type  = "COST"
  time_unit    = "MONTHLY"
  limit_amount = tostring(var.monthly_budget_usd)
  limit_unit   = "USD"

  dynamic "notification" {
    for_each = { ACTUAL = 80, FORECASTED = 100 }

    content {
      notification_type         = notification.key
      comparison_operator       = "GREATER_THAN"
      threshold                 = notification.value
      threshold_type            = "PERCENTAGE"
      subscriber_sns_topic_arns = [aws_sns_topic.alarms.arn]
    }
  }
  depends_on = [aws_sns_topic_policy.alarms] # a budget tries its topic at once
}
