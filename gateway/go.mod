module example.com/gateway

go 1.24

require example.com/gateway/api v0.0.0

// It is a module of its own, so that plugins of others can require it without the gateway; here it is in this tree.
replace example.com/gateway/api => ./api
