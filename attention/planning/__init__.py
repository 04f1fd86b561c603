"""What all planners share: the rule around them, their context, the measurement of what they keep."""
