module gopkg.in/extra.v2

go 1.21
