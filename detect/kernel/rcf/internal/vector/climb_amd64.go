package vector

//go:noescape
func climb8(s Set, p, boxes *float32, path *uint32, stride, dims, levels int, out *[2]float32) int
