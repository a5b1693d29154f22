module example.com/app

go 1.24

require (
	example.com/dep v1.0.0
	gopkg.in/extra.v2 v2.0.0
)
