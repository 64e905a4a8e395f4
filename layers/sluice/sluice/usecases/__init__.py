"""What each trigger does, and the steps that several of them share."""
