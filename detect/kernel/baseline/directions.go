package baseline

import "math"

// begin sets the first directions: cosines over the shingle of one feature
// after the other, from slow to fast, which is where the variance of most
// metrics lies (they are the directions of a strongly autocorrelated process).
func (m *SubPCA) begin() {
	length, features := m.settings.Shingle, m.settings.Features
	for j := range m.k {
		f, frequency := j%features, j/features
		norm := math.Sqrt(2 / float64(length))
		if frequency == 0 {
			norm = math.Sqrt(1 / float64(length))
		}
		for t := range length {
			m.basis[j*m.d+t*features+f] = norm * math.Cos(math.Pi*float64(frequency)*(float64(t)+0.5)/float64(length))
		}
	}
}

// turn takes one step of orthogonal iteration.
func (m *SubPCA) turn() {
	for j := range m.k {
		m.multiply(m.product[j*m.d:(j+1)*m.d], m.basis[j*m.d:(j+1)*m.d])
	}
	sum := 0.0
	for j := range m.k {
		v := m.product[j*m.d : (j+1)*m.d]
		before := norm(v)
		m.straighten(v, j)
		after := norm(v)
		m.variance[j] = after
		if after <= 1e-9*before || after == 0 {
			// The data vary in fewer directions: keep any that is at right
			// angles to the others.
			m.variance[j] = 0
			for axis := 0; ; axis++ {
				clear(v)
				v[axis] = 1
				m.straighten(v, j)
				if after = norm(v); after*after > 0.5/float64(m.d) {
					break
				}
			}
		}
		for o := range v {
			m.basis[j*m.d+o] = v[o] / after
		}
		sum += m.variance[j]
	}
	m.residual = max(0, m.total()-sum) / float64(m.d-m.k)
}

// straighten takes out of v what lies along the first rows of the basis, twice,
// because once leaves rounding behind.
func (m *SubPCA) straighten(v []float64, rows int) {
	for range 2 {
		for j := range rows {
			row, sum := m.basis[j*m.d:(j+1)*m.d], 0.0
			for o, b := range row {
				sum += b * v[o]
			}
			for o, b := range row {
				v[o] -= sum * b
			}
		}
	}
}

// multiply sets dst to the covariance times v.
func (m *SubPCA) multiply(dst, v []float64) {
	clear(dst)
	o := 0
	for i, x := range v {
		row, sum := m.covariance[o:o+i], 0.0
		for j, c := range row {
			sum += c * v[j]
			dst[j] += c * x
		}
		dst[i] += sum + m.covariance[o+i]*x
		o += i + 1
	}
}

func norm(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x * x
	}
	return math.Sqrt(sum)
}

// total is the variance of the whole shingle.
func (m *SubPCA) total() float64 {
	sum, o := 0.0, 0
	for i := range m.d {
		sum += m.covariance[o+i]
		o += i + 1
	}
	return sum
}

// solve replaces y by the solution of a·y = y, where the lower triangle of the
// positive definite a is given, by Cholesky's decomposition in place.
func solve(a, y []float64) {
	k := len(y)
	for i := range k {
		for j := range i + 1 {
			sum := a[i*k+j]
			for c := range j {
				sum -= a[i*k+c] * a[j*k+c]
			}
			if i == j {
				a[i*k+i] = math.Sqrt(max(sum, 1e-12))
			} else {
				a[i*k+j] = sum / a[j*k+j]
			}
		}
	}
	for i := range k {
		for c := range i {
			y[i] -= a[i*k+c] * y[c]
		}
		y[i] /= a[i*k+i]
	}
	for i := k - 1; i >= 0; i-- {
		for c := i + 1; c < k; c++ {
			y[i] -= a[c*k+i] * y[c]
		}
		y[i] /= a[i*k+i]
	}
}
