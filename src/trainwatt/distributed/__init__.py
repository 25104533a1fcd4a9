"""The processes of a job: who they are, what each has measured, the job as a whole."""
