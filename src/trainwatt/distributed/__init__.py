"""Distributed jobs: ranks, the record of each rank, and the aggregated job."""
