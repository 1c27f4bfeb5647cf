# The policies of docs/security.md with names filled in, and the keys that the buckets' encryption adds. A test compares
# them with the document, so they are written in its words.

locals {
  lake    = "arn:${local.partition}:s3:::${local.lake_bucket}"
  results = "arn:${local.partition}:s3:::${local.results_bucket}"
  scores  = "${local.results}/${local.prefix}"

  run_policy = [
    {
      Sid       = "ListTheLake"
      Effect    = "Allow"
      Action    = "s3:ListBucket"
      Resource  = local.lake
      Condition = { StringLike = { "s3:prefix" = [var.lake_prefix, "${var.lake_prefix}/*"] } }
    },
    {
      Sid    = "ReadTheLake"
      Effect = "Allow"
      Action = "s3:GetObject"
      Resource = concat(
        ["${local.lake}/${var.lake_prefix}", "${local.lake}/${var.lake_prefix}/*"],
        [for key in var.weights_key[*] : "${local.lake}/${key}"],
      )
    },
    {
      Sid       = "ListTheResults"
      Effect    = "Allow"
      Action    = "s3:ListBucket"
      Resource  = local.results
      Condition = { StringLike = { "s3:prefix" = "${local.prefix}/*" } }
    },
    {
      Sid    = "ReadAndWriteTheResults"
      Effect = "Allow"
      Action = ["s3:GetObject", "s3:PutObject"]
      Resource = [
        "${local.scores}/features/*",
        "${local.scores}/encoders/*",
        "${local.scores}/runs/*",
        "${local.scores}/work/*",
        "${local.scores}/locks/*",
        "${local.scores}/calibration/*",
        "${local.scores}/latest.json",
      ]
    },
    {
      Sid    = "DeleteWhatIsTemporary"
      Effect = "Allow"
      Action = "s3:DeleteObject"
      Resource = [
        "${local.scores}/work/*",
        "${local.scores}/locks/*",
        "${local.scores}/calibration/*.probe",
      ]
    },
    {
      Sid      = "DecryptAndEncryptTheResults"
      Effect   = "Allow"
      Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
      Resource = aws_kms_key.data.arn
    },
  ]

  # A lake that is made here has the key of the results
  lake_key_policy = [for key in var.lake_kms_key_arn[*] : {
    Sid      = "DecryptTheLake"
    Effect   = "Allow"
    Action   = "kms:Decrypt"
    Resource = key
  }]

  reader_policy = [
    {
      Sid       = "ListRuns"
      Effect    = "Allow"
      Action    = "s3:ListBucket"
      Resource  = local.results
      Condition = { StringLike = { "s3:prefix" = "${local.prefix}/runs/*" } }
    },
    {
      Sid      = "ReadRuns"
      Effect   = "Allow"
      Action   = "s3:GetObject"
      Resource = ["${local.scores}/runs/*", "${local.scores}/latest.json"]
    },
    local.decrypt_results,
  ]

  collector_policy = [
    {
      Sid       = "ListTheResults"
      Effect    = "Allow"
      Action    = "s3:ListBucket"
      Resource  = local.results
      Condition = { StringLike = { "s3:prefix" = "${local.prefix}/*" } }
    },
    {
      Sid      = "ReadRunsAndFeatures"
      Effect   = "Allow"
      Action   = "s3:GetObject"
      Resource = ["${local.scores}/runs/*", "${local.scores}/features/*"]
    },
    {
      Sid      = "DeleteFeatures"
      Effect   = "Allow"
      Action   = "s3:DeleteObject"
      Resource = "${local.scores}/features/*"
    },
    local.decrypt_results,
  ]

  decrypt_results = {
    Sid      = "DecryptTheResults"
    Effect   = "Allow"
    Action   = "kms:Decrypt"
    Resource = aws_kms_key.data.arn
  }
}
