variable "name" {
  description = "Name of the cluster, and the beginning of every other name."
  type        = string
  default     = "lakescore"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,28}[a-z0-9]$", var.name))
    error_message = "name must be 3 to 30 lower-case letters, digits and hyphens, since buckets and roles are named after it."
  }
}

variable "administrators" {
  description = "ARNs of the IAM roles and users that may administer the cluster; whoever applies this is not one by itself."
  type        = set(string)

  validation {
    condition = length(var.administrators) > 0 && alltrue([
      for arn in var.administrators : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/", arn))
    ])
    error_message = "administrators must name at least one role or user as arn:aws:iam::<account>:role/<name>; a session's ARN (sts, assumed-role) does not work."
  }
}

variable "kubernetes_version" {
  description = "Minor version of Kubernetes; EKS upgrades by itself when its standard support ends."
  type        = string
  default     = "1.35"

  validation {
    condition     = can(regex("^1\\.(29|[3-9][0-9])$", var.kubernetes_version))
    error_message = "kubernetes_version must be a minor version such as 1.35; Auto Mode needs 1.29 or newer."
  }
}

variable "api_cidrs" {
  description = "Networks that reach the Kubernetes API from outside of the VPC; none leaves it private."
  type        = set(string)
  default     = []

  validation {
    condition = alltrue([
      for cidr in var.api_cidrs : can(cidrnetmask(cidr)) && try(tonumber(split("/", cidr)[1]) >= 8, false)
    ])
    error_message = "api_cidrs must be IPv4 networks of /8 or smaller, such as 203.0.113.7/32; the whole internet is not allowed in."
  }
}

variable "zones" {
  description = "Three availability zones of the region that have the instances wanted; GPUs are taken where there are some."
  type        = list(string)

  validation {
    condition     = length(var.zones) == 3 && length(distinct(var.zones)) == 3 && alltrue([for zone in var.zones : can(regex("^[a-z]{2}(-[a-z]+)+-[0-9][a-z]$", zone))])
    error_message = "zones must be three different availability zones, such as eu-central-1a."
  }
}

variable "vpc_cidr" {
  description = "IPv4 network of the VPC; each of the three zones gets a quarter of it. Every pod takes an address."
  type        = string
  default     = "10.42.0.0/16"

  validation {
    condition     = can(cidrnetmask(var.vpc_cidr)) && try(tonumber(split("/", var.vpc_cidr)[1]) >= 16 && tonumber(split("/", var.vpc_cidr)[1]) <= 20, false)
    error_message = "vpc_cidr must be an IPv4 network from /16 to /20, such as 10.42.0.0/16."
  }
}

variable "egress" {
  description = "How nodes reach AWS: endpoints (private nodes, no way out but AWS, about 7 USD a month for each endpoint and zone) or public (nodes with public addresses and no way in, nothing while idle)."
  type        = string
  default     = "endpoints"

  validation {
    condition     = contains(["endpoints", "public"], var.egress)
    error_message = "egress must be endpoints or public."
  }
}

variable "endpoint_zones" {
  description = "In how many zones the interface endpoints stand; with one, its outage costs a night."
  type        = number
  default     = 1

  validation {
    condition     = contains([1, 2, 3], var.endpoint_zones)
    error_message = "endpoint_zones must be 1, 2 or 3."
  }
}

variable "lake_bucket" {
  description = "Existing bucket with the images; null makes one, <name>-lake-<account>."
  type        = string
  default     = null

  validation {
    condition     = var.lake_bucket == null || can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.lake_bucket))
    error_message = "lake_bucket must be the name of a bucket, without s3:// and prefix."
  }
}

variable "lake_prefix" {
  description = "Prefix of the images in the lake's bucket; a run may read nothing beside it."
  type        = string
  default     = "parts"

  validation {
    condition     = can(regex("^[A-Za-z0-9!_.=-]+(/[A-Za-z0-9!_.=-]+)*$", var.lake_prefix))
    error_message = "lake_prefix must not be empty, begin or end with /, or hold characters that mean something in a policy (*, ?, $)."
  }
}

variable "lake_kms_key_arn" {
  description = "KMS key of an existing lake's bucket; null where it is encrypted by SSE-S3."
  type        = string
  default     = null

  validation {
    condition     = var.lake_kms_key_arn == null || can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[a-f0-9-]+$", var.lake_kms_key_arn))
    error_message = "lake_kms_key_arn must be the ARN of a key, arn:aws:kms:<region>:<account>:key/<id>, not of an alias."
  }

  validation {
    condition     = var.lake_kms_key_arn == null || var.lake_bucket != null
    error_message = "lake_kms_key_arn belongs to an existing bucket; the bucket that is made here gets a key of its own."
  }
}

variable "weights_key" {
  description = "Key of the encoder's weights in the lake's bucket, such as weights/vit.safetensors; null where they come with the image."
  type        = string
  default     = null

  validation {
    condition     = var.weights_key == null || can(regex("^[A-Za-z0-9!_.=-]+(/[A-Za-z0-9!_.=-]+)*$", var.weights_key))
    error_message = "weights_key must be the key of one object, without s3://, bucket or wildcard."
  }
}

variable "feature_days" {
  description = "Days until stored features expire; a run encodes again what is missing. Keep it above references.days."
  type        = number
  default     = 90

  validation {
    condition     = var.feature_days >= 14 && floor(var.feature_days) == var.feature_days
    error_message = "feature_days must be a whole number of at least 14: a window of a week and a week to repair a night."
  }
}

variable "previous_version_days" {
  description = "Days until overwritten and deleted versions of objects are gone for good."
  type        = number
  default     = 30

  validation {
    condition     = var.previous_version_days >= 1 && floor(var.previous_version_days) == var.previous_version_days
    error_message = "previous_version_days must be a whole number of at least 1."
  }
}

variable "log_days" {
  description = "Days that log groups keep their lines."
  type        = number
  default     = 365

  validation {
    condition     = contains([30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_days)
    error_message = "log_days must be a retention that CloudWatch knows: 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, ..."
  }
}

variable "container_logs" {
  description = "Whether the logs of pods go to CloudWatch, by an add-on that needs nodes: set it after the NodePools exist."
  type        = bool
  default     = false
}

variable "alarm_emails" {
  description = "Addresses that alarms and the budget write to; each has to confirm its subscription once."
  type        = set(string)

  validation {
    condition     = length(var.alarm_emails) > 0 && alltrue([for address in var.alarm_emails : can(regex("^[^@ ]+@[^@ ]+\\.[^@ ]+$", address))])
    error_message = "alarm_emails must hold at least one address such as night@example.org: an alarm that nobody gets is none."
  }
}

variable "late_after_hours" {
  description = "Hours without a published run until the alarm for a late run goes off."
  type        = number
  default     = 26

  validation {
    condition     = var.late_after_hours >= 1 && var.late_after_hours <= 168 && floor(var.late_after_hours) == var.late_after_hours
    error_message = "late_after_hours must be a whole number from 1 to 168: CloudWatch looks back a week at most."
  }
}

variable "monthly_budget_usd" {
  description = "What the account may cost in a month; the budget writes at 80 % of it, and when the forecast exceeds it."
  type        = number

  validation {
    condition     = var.monthly_budget_usd > 0
    error_message = "monthly_budget_usd must be above 0."
  }
}

variable "deletion_protection" {
  description = "Whether buckets and images that hold something withstand terraform destroy, and keys wait for 30 days and not 7."
  type        = bool
  default     = true
}
