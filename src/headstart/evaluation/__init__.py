"""Metrics, intervals and calibration: functions of arrays."""
