locals {
  public = var.egress == "public"

  # What nodes of Auto Mode, the pod identity agent and Ray's pods ask. S3 has the gateway, which costs nothing
  endpoints = ["ec2", "ecr.api", "ecr.dkr", "eks", "eks-auth", "logs", "sts"]
}

resource "aws_vpc" "this" {
  #checkov:skip=CKV2_AWS_11:Flow logs cost more than the idle network; the only way in is the API, and its audit log is kept
  cidr_block           = var.vpc_cidr
  enable_dns_support   = true
  enable_dns_hostnames = true # the endpoints' private names need it

  tags = { Name = var.name }
}

# Nothing uses it, and whatever is put into it by mistake reaches nothing
resource "aws_default_security_group" "closed" {
  vpc_id = aws_vpc.this.id
}

resource "aws_subnet" "nodes" {
  #checkov:skip=CKV_AWS_130:Only with egress public; the cluster's security group lets in nothing from outside of itself
  count = length(var.zones)

  vpc_id                  = aws_vpc.this.id
  availability_zone       = var.zones[count.index]
  cidr_block              = cidrsubnet(var.vpc_cidr, 2, count.index)
  map_public_ip_on_launch = local.public

  tags = {
    Name                     = "${var.name}-${var.zones[count.index]}"
    "karpenter.sh/discovery" = var.name # what the NodeClass selects
  }
}

resource "aws_route_table" "nodes" {
  vpc_id = aws_vpc.this.id

  tags = { Name = "${var.name}-nodes" }
}

resource "aws_route_table_association" "nodes" {
  count = length(var.zones)

  subnet_id      = aws_subnet.nodes[count.index].id
  route_table_id = aws_route_table.nodes.id
}

resource "aws_vpc_endpoint" "s3" {
  vpc_id            = aws_vpc.this.id
  service_name      = "com.amazonaws.${local.region}.s3"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = [aws_route_table.nodes.id]

  tags = { Name = "${var.name}-s3" }
}

# A NAT gateway costs about 37 USD a month idle and lets everything out. Nodes with public addresses cost nothing while
# there are none, endpoints let out to AWS alone: between these two, it has no place.

resource "aws_internet_gateway" "this" {
  count = local.public ? 1 : 0

  vpc_id = aws_vpc.this.id

  tags = { Name = var.name }
}

resource "aws_route" "internet" {
  count = local.public ? 1 : 0

  route_table_id         = aws_route_table.nodes.id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.this[0].id
}

resource "aws_vpc_endpoint" "aws" {
  for_each = local.public ? [] : toset(local.endpoints)

  vpc_id              = aws_vpc.this.id
  service_name        = "com.amazonaws.${local.region}.${each.key}"
  vpc_endpoint_type   = "Interface"
  private_dns_enabled = true
  subnet_ids          = slice(aws_subnet.nodes[*].id, 0, var.endpoint_zones)
  security_group_ids  = [aws_security_group.endpoints[0].id]

  tags = { Name = "${var.name}-${each.key}" }
}

resource "aws_security_group" "endpoints" {
  count = local.public ? 0 : 1

  name        = "${var.name}-endpoints"
  description = "AWS interfaces in the VPC: https from the VPC alone"
  vpc_id      = aws_vpc.this.id
}

resource "aws_vpc_security_group_ingress_rule" "endpoints" {
  count = local.public ? 0 : 1

  security_group_id = aws_security_group.endpoints[0].id
  description       = "https from nodes and pods"
  cidr_ipv4         = var.vpc_cidr
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}
