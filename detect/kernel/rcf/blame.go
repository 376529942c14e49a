package rcf

// blame adds what one tree's score s is due to. The score is the sum, over the
// levels of the way, of the chance to be cut off there first times what that
// is worth; each part goes to the dimensions in proportion to their gaps
// between point and box.
func (f *Forest) blame(p *Pass, s float64) {
	if p.equal {
		f.blameEqual(p, s)
		return
	}
	keep := p.norm
	for level := p.top; level < p.depth; level++ {
		box := f.met(p, level)
		f.blend(p.high, p.low, p.point, box, keep*p.worth[level]/p.whole[level], 1)
		keep *= 1 - p.cutOff[level]
	}
	copy(p.nearby, p.near)
	copy(p.nearby[f.pad:], p.near)
	_, whole := f.chance(p.point, p.nearby)
	f.blend(p.high, p.low, p.point, p.nearby, keep*p.worth[p.depth]/whole, 1)
}

// blameEqual adds what a tree's score of a point that it holds is due to: its
// shares are those that it would have had the point not been there, so that
// what sets a point apart does not vanish when it is repeated. Levels then
// have the box of the siblings met so far instead of their own.
func (f *Forest) blameEqual(p *Pass, s float64) {
	if s == 0 {
		return
	}
	equal := float32(s / p.norm / float64(2*f.dims))
	for i := range p.point[:f.dims] {
		p.up[i], p.down[i] = equal, equal
	}
	clear(p.up[f.dims:])
	clear(p.down[f.dims:])
	for level := p.depth - 1; level >= 0; level-- {
		f.siblings(p, level)
		chance, whole := f.chance(p.point, p.nearby)
		if chance == 0 {
			break
		}
		f.blend(p.up, p.down, p.point, p.nearby, p.worth[level]/whole, 1-chance)
	}
	sum := 0.0
	for i := range p.point[:f.dims] {
		sum += float64(p.up[i]) + float64(p.down[i])
	}
	scale := float32(s / sum)
	for i := range p.point[:f.dims] {
		p.high[i] += scale * p.up[i]
		p.low[i] += scale * p.down[i]
	}
}

// blend is the kernel's where its numbers stay within float32.
func (f *Forest) blend(high, low, p, box []float32, scale, keep float64) {
	if scale > 1e-30 && scale < 1e30 {
		f.kernels.Blend(high, low, p, box, float32(scale), float32(keep))
		return
	}
	lower, upper := box[:len(p)], box[len(p):]
	for i, x := range p {
		below, above := gaps(x, lower[i], upper[i])
		high[i] = float32(keep*float64(high[i]) + scale*above)
		low[i] = float32(keep*float64(low[i]) + scale*below)
	}
}

// account turns the sums over the trees into shares of the score.
func (f *Forest) account(p *Pass) {
	sum := 0.0
	for i := range p.point[:f.dims] {
		sum += float64(p.high[i]) + float64(p.low[i])
	}
	scale := 0.0
	if sum > 0 {
		scale = p.Score / sum
	}
	for i := range p.point[:f.dims] {
		p.High = append(p.High, scale*float64(p.high[i]))
		p.Low = append(p.Low, scale*float64(p.low[i]))
	}
}
