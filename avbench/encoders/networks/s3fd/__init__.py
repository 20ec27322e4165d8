"""S3FD: a detector of faces, which lip-sync pipelines crop by."""
