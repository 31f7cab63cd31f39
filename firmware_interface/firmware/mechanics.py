"""What this board was built with. Edit here when the bench differs; the host reads it in HELLO."""

FIRMWARE = (1, 0, 0)

# The stage: GT2 belt on a 20-tooth pulley (40 mm per turn), 200 steps per turn, driver at 1/16 step
STEP_NM = 12500  # nanometres per step
TRAVEL = 71600  # steps from home to the soft limit: 0.895 m of the 0.9 m between the switches
FAST = 4000  # steps per second: 50 mm/s, which the motor starts and stops without a ramp
SLOW = 160  # steps per second: 2 mm/s, onto a switch
CLEARANCE = 400  # steps backed off from a switch before it is approached slowly: 5 mm
APPROACH = 40  # steps below its target from which a move comes up, to take up the play: 0.5 mm
SWITCH_SLACK = 16  # steps above home in which the low switch may still be pressed: 0.2 mm

# The shutter: a solenoid opens it against a spring, so that it closes when the current ends for any reason
SHUTTER = True  # False for a bench without one: the cover alone then guards the source
SHUTTER_MS = 120  # after which the blade has arrived, or is stuck
PULL_IN_MS = 150  # of full current to open, then
HOLD_PERCENT = 35  # of it to stay open without getting hot

# Pins (GPIO numbers of the Pico), see hardware/board/README.md
PIN_SOURCE = 16
PIN_STEP = 2
PIN_DIRECTION = 3
PIN_LOW = 6
PIN_HIGH = 7
PIN_SHUTTER = 15
PIN_BLADE = 8  # closed contact of the shutter
PIN_COVER = 9
PIN_TRIGGER = 17
PIN_SLM = 18
PIN_LIGHT = 22
PIN_SDA = 4
PIN_SCL = 5
THERMOMETER = 0x48  # I2C address of the TMP117
PIN_SERVICE = 21  # jumper to ground at power-up: the firmware does not start, so that it can be replaced
