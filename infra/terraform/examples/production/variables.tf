variable "administrators" {
  description = "ARNs of the IAM roles and users that may administer the cluster."
  type        = set(string)
}

variable "api_cidrs" {
  description = "Networks that reach the Kubernetes API from outside, such as the office's; none where a VPN leads into the VPC."
  type        = set(string)
  default     = []
}

variable "lake_bucket" {
  description = "Bucket with the images."
  type        = string
}

variable "lake_prefix" {
  description = "Prefix of the images in it."
  type        = string
}

variable "lake_kms_key_arn" {
  description = "KMS key of that bucket; null where it is encrypted by SSE-S3."
  type        = string
  default     = null
}

variable "weights_key" {
  description = "Key of the encoder's weights in that bucket."
  type        = string
}

variable "alarm_emails" {
  description = "Addresses that alarms and the budget write to."
  type        = set(string)
}

variable "monthly_budget_usd" {
  description = "What the account may cost in a month."
  type        = number
}

variable "container_logs" {
  description = "Collects the logs of pods; true from the second apply on, when the NodePools exist."
  type        = bool
  default     = false
}
