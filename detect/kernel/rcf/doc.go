// Package rcf is a streaming robust random cut forest: it says of every point
// of a stream how strange it is beside what came before, which of its values
// are to blame, and what was to be expected instead; then it learns the point.
// Nothing needs to be labelled, scaled or tuned.
//
//	forest, err := rcf.New(rcf.Options{Dims: 4, Shingle: 8})
//	pass := rcf.Pass{Attribute: true}
//	err = forest.Process([]float64{cpu, memory, network, disk}, &pass)
//	// pass.Score, pass.High, pass.Low
//
// # What it does
//
// A tree cuts the bounding box of its sample at random, a side being chosen by
// its length, until every distinct point is alone. A point that few cuts set
// apart is strange. The score is the expected inverse depth at which a point
// would be set apart had it been there, averaged over the trees; it is about 1
// for an ordinary point. With a Shingle of n, a point is the last n rows, so that
// the order of values counts as well as the values.
//
// Each tree has its own sample of the past, in which a point's chance to be
// decays exponentially with its age. The forest thus follows a changing stream;
// a level that stays is normal after some hundreds of points. [Forest.Observe]
// scores without learning, for spans that must not become normal.
//
// # What is exact
//
// A sample is distributed as its definition says although a tree that takes no
// part in a point costs no random number for it; a tree is distributed as one
// built anew from its sample after every insertion and eviction. Tests prove
// both against plain implementations. Scores and attributions agree in mean and
// deviation with AWS's Java library (version 4.3.0), at every point of five
// streams. The vector unit and plain Go give the same bits. Equal options and
// rows give equal scores, and a score never depends on later rows. A forest
// that was saved goes on as if it had not been. Only [Pass].Precision allows an
// approximation.
//
// # Costs
//
// With T trees, S samples and D dimensions of a point, a row costs about
// T*(log2(S) + 5*D/8) steps of some nanoseconds, plus T*S*TimeDecay (5 by
// default) insertions and evictions, and allocates nothing. The benchmarks give
// figures. A forest holds about 22*T*S bytes and 4 bytes for each value of some
// 4/TimeDecay rows; 8*T*S*D bytes of boxes come with it while it is in use and
// go with [Forest.Rest]. With [Options].BoxMass of 10 only the boxes of nodes of
// 10 points or more are kept, about 2*T*S*D bytes; a row takes
// longer, less so where forests take turns and wait for memory, and results do
// not change. A saved one takes about 13*T*S bytes and the rows.
// Nothing in a forest has pointers that the collector would follow.
//
// # Limits
//
// Values are kept as float32. A point has at most 16384 dimensions; Samples of
// 256 allow all of them, 1024 allow 1024, 4095 allow 256, 4096 allow 64. NaN
// and infinite values are refused, see [Forest.Impute] for missing ones. Features
// of one forest should vary on comparable scales: a long side is cut more often.
// A forest is one goroutine's; a [Pass] is its scratch and serves any number of
// forests.
//
// # Sources
//
// Guha, Mishra, Roy, Schrijvers: Robust Random Cut Forest Based Anomaly
// Detection on Streams, ICML 2016 (trees, insertion and eviction, collusive
// displacement). Efraimidis, Spirakis: Weighted random sampling with a
// reservoir, IPL 2006 (the sample). The scores, the attribution, the density and
// the imputation follow the definitions of AWS's random-cut-forest-by-aws; no
// code was taken from it.
package rcf
