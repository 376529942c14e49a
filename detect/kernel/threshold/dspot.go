package threshold

// DSPOTSettings say how a DSPOT alarms.
type DSPOTSettings struct {
	SPOTSettings
	// Depth is the number of latest points whose mean is the local level.
	// Defaults to 128.
	Depth int
}

// DSPOT is SPOT for a stream that drifts (section 4.4 of the paper): it looks
// at the distance of a point from the mean of the last Depth points that did
// not alarm. A drift that is slow against Depth does not alarm; a jump does,
// and not what follows it: the mean stays where it was until the jump is over. The first Depth points only fill
// the mean, so the first alarm comes after Depth+Calibrate points.
type DSPOT struct {
	spot SPOT
	ring []float64
	next int
	sum  float64
}

// NewDSPOT returns a DSPOT that has seen nothing.
func NewDSPOT(s DSPOTSettings) (*DSPOT, error) {
	if s.Depth == 0 {
		s.Depth = 128
	}
	if err := within("dspot", "Depth", float64(s.Depth), 1, 1<<20); err != nil {
		return nil, err
	}
	spot, err := NewSPOT(s.SPOTSettings)
	if err != nil {
		return nil, err
	}
	return &DSPOT{spot: *spot, ring: make([]float64, 0, s.Depth)}, nil
}

// Ready reports whether the calibration is over.
func (d *DSPOT) Ready() bool { return d.spot.Ready() }

// Level returns the local mean, 0 before the first point.
func (d *DSPOT) Level() float64 {
	if len(d.ring) == 0 {
		return 0
	}
	return d.sum / float64(len(d.ring))
}

// Threshold returns the value above which the next point alarms, +Inf while
// calibrating.
func (d *DSPOT) Threshold() float64 { return d.Level() + d.spot.Threshold() }

// Alarm reports whether the point lies above the threshold.
func (d *DSPOT) Alarm(x float64) bool { return finite(x) && d.spot.Alarm(x-d.Level()) }

// Learn takes in a point as it is, alarming or not.
func (d *DSPOT) Learn(x float64) {
	if !finite(x) {
		return
	}
	if d.full() {
		d.spot.Learn(x - d.Level())
	}
	d.follow(x)
}

func (d *DSPOT) full() bool { return len(d.ring) == cap(d.ring) }

// follow takes a point into the local mean.
func (d *DSPOT) follow(x float64) {
	if !finite(d.sum + x) {
		return
	}
	if !d.full() {
		d.ring = append(d.ring, x)
		d.sum += x
		return
	}
	d.sum += x - d.ring[d.next]
	d.ring[d.next] = x
	if d.next++; d.next == len(d.ring) {
		// Once a round the sum is taken anew, so that rounding does not pile up.
		d.next, d.sum = 0, 0
		for _, v := range d.ring {
			d.sum += v
		}
	}
}

// Update reports whether the point alarms and learns it unless it is held. An
// alarm is learned as said at SPOT, and does not enter the local mean.
func (d *DSPOT) Update(x float64, hold bool) (alarm bool) {
	if d.full() {
		alarm = d.spot.Update(x-d.Level(), hold)
	}
	if !alarm && !hold && finite(x) {
		d.follow(x)
	}
	return alarm
}

// AppendState appends the state to dst.
func (d *DSPOT) AppendState(dst []byte) []byte {
	c := save(dst, 'D')
	d.code(&c)
	return c.buf
}

func (d *DSPOT) code(c *coder) {
	d.spot.code(c)
	depth, n := cap(d.ring), len(d.ring)
	c.setting("Depth", float64(depth))
	c.int(&d.next, depth-1)
	c.float(&d.sum)
	c.int(&n, depth)
	if c.load {
		if c.err != nil {
			return
		}
		d.ring = make([]float64, n, depth)
		d.next = min(d.next, max(n-1, 0))
	}
	c.floats(d.ring)
}

// LoadState reads what AppendState wrote and returns the bytes after it.
func (d *DSPOT) LoadState(src []byte) ([]byte, error) {
	c, next := load(src, 'D'), *d
	next.code(&c)
	if c.err == nil {
		*d = next
	}
	return c.done("dspot")
}
