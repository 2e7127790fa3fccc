"""Several readers of one study: agreement, consensus, a report of the work, and a data set to publish."""
