"""What annealq is measured against: the same work as a user of Ocean would write it."""
