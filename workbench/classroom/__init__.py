"""The classroom: assignments that are graded by comparing answers outside the student's process."""
