"""The world of a worker: SQS, CloudWatch, the instance's or task's own surroundings."""
