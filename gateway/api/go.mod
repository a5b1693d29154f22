module example.com/gateway/api

go 1.24
