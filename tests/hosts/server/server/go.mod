module example.com/server

go 1.24

require example.com/words v1.0.0
