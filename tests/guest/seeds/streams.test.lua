-- The examples of the page "Streams", as written there. What they ask of the guest, a log and a program, is put there before.

local vm = provium:vm("v", "peios"):boot()

local slow_server = [[
#!/bin/sh
echo starting
sleep 1
echo listening
sleep 600
]]

test("wait for a log line", function(t)
	t:skip("vm:open_file is not there yet")
	vm:run("mkdir -p /var/log && echo old > /var/log/messages"):assert_ok()
	vm:run("(sleep 1; echo the service is ready >> /var/log/messages) > /dev/null 2>&1 &"):assert_ok()
	-- example
	local f = vm:open_file("/var/log/messages", {read=true})
	local stream = f:tail_stream()
	stream:expect("ready", "30s")
	-- end
	t:assert_eq(vm:open_stream_count(), 1)
	t:assert_eq(stream:next(), "\n")
	stream:close()
	f:close()
end)

test("race a process against a timeout", function(t)
	vm:write_file("/bin/slow-server", slow_server)
	vm:run("chmod 755 /bin/slow-server"):assert_ok()
	-- example
	local proc = vm:run_async("slow-server")
	local out = proc:stdout_stream()
	out:expect("listening", "10s")
	-- now hit it
	-- end
	t:assert_eq(proc:status(), "running")
	proc:kill("kill")
end)

test("drain a capture and pass through pcap-parser", function(t)
	t:skip("bridges are not there yet")
	local bridge = provium:bridge("lan")
	-- example
	local cap = bridge:capture()
	vm:run("ping -c 5 peer.lan")
	local frames = cap:drain("2s")
	local pcap = table.concat(frames)
	-- write pcap to a file or feed it to a parser
	-- end
	t:assert_eq(pcap:sub(1, 4), "\xd4\xc3\xb2\xa1")
end)
