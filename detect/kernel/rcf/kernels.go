package rcf

type kernels struct{}

func (kernels) Excess(p, box []float32) (excess, span float32) {
	n := len(p)
	lo, hi := box[:n], box[n:2*n]
	for i, x := range p {
		excess += max(lo[i]-x, 0) + max(x-hi[i], 0)
		span += hi[i] - lo[i]
	}
	return
}

func (kernels) L1(a, b []float32) (s float32) {
	for i := range a {
		d := a[i] - b[i]
		if d < 0 {
			d = -d
		}
		s += d
	}
	return
}

func (k kernels) Grow(box, p []float32) (grew bool) {
	n := len(p)
	for i, x := range p {
		if x < box[i] {
			box[i], grew = x, true
		}
		if x > box[n+i] {
			box[n+i], grew = x, true
		}
	}
	return
}

func (k kernels) Union(box, other []float32) (grew bool) {
	n := len(box) / 2
	for i := range n {
		if other[i] < box[i] {
			box[i], grew = other[i], true
		}
		if other[n+i] > box[n+i] {
			box[n+i], grew = other[n+i], true
		}
	}
	return
}

func (kernels) Blend(high, low, p, box []float32, scale, keep float32) {
	n := len(p)
	for i, x := range p {
		high[i] = float32(keep*high[i]) + float32(scale*max(x-box[n+i], 0))
		low[i] = float32(keep*low[i]) + float32(scale*max(box[i]-x, 0))
	}
}
