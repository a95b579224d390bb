-- Logs are rotated under a daemon that does not stop: nothing may be lost, whoever reads along.
local vm = provium:vm("server", "linux", {memory = "128M"}):boot()

-- A daemon as they are: it keeps its log open, and opens it anew when it gets a HUP.
vm:write_file("/bin/ticker", [[#!/bin/sh
exec >> /var/log/ticker
trap 'exec >> /var/log/ticker' HUP
i=0
while [ $i -lt 500 ]; do i=$((i + 1)); echo "tick $i"; done
echo "the end"
]])
vm:mkdir("/var/log", {parents = true})

test("a tail goes from the old file to the new one", function(t)
	vm:write_file("/var/log/ticker", "")
	local log = vm:tail_file("/var/log/ticker", {start = "beginning"})
	vm:run([[sh /bin/ticker & pid=$!
		while [ $(wc -l < /var/log/ticker) -lt 20 ]; do :; done
		mv /var/log/ticker /var/log/ticker.1
		: > /var/log/ticker
		kill -HUP $pid
		wait]]):assert_ok()

	local count = 0
	for tick in log:read_until("the end\n", "30s"):gmatch("tick (%d+)\n") do
		count = count + 1
		t:assert_eq(tonumber(tick), count)
	end
	t:assert_eq(count, 500)

	local notices = log:notices()
	t:assert_eq(notices[1].kind, "rotated")
	t:log("rotated after " .. notices[1].offset .. " bytes")
end)

test("a log that is emptied in place ends the tail, so that nobody waits for what is gone", function(t)
	vm:write_file("/var/log/ticker", "some lines\n")
	local log = vm:tail_file("/var/log/ticker", {start = "beginning"})
	log:expect("lines\n")
	vm:run(": > /var/log/ticker"):assert_ok()
	local err = tostring(t:assert_raises(function() log:expect("more") end))
	t:assert_contains(err, "stream EOF")
	t:assert_contains(err, "the file was truncated")
end)

test("the logs come home for whoever looks into a failure", function(t)
	local folder = os.tmpname()
	os.remove(folder)
	vm:pull_dir("/var/log", folder)
	local f = assert(io.open(folder .. "/ticker.1"))
	t:assert_contains(f:read("a"), "tick 1\n")
	f:close()
	os.execute("rm -r " .. folder)
end)
