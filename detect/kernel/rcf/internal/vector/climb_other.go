//go:build !amd64

package vector

func climb8(s Set, p, boxes *float32, path *uint32, stride, dims, levels int, out *[2]float32) int {
	return portableClimb(s, p, boxes, path, stride, dims, levels, out)
}
