"""What masks say: measurements, calibration, lesion tracks, shape changes, active learning."""
