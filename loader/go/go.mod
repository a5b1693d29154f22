module lockstep-loader

go 1.24
