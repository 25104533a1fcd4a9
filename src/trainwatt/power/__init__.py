"""What draws power, and how it is read: one module per source, :mod:`trainwatt.power.discovery` on top."""
