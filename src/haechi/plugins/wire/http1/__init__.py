"""HTTP/1.1 as a server speaks it, on httptools: connections without an application framework. For doors of ours."""
