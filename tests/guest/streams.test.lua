-- Streams: files that grow, their rotation, open files, consoles (spec 13), and what they forbid (7.8).
local vm = provium:vm("v", "linux", {memory = "384M"}):boot()

local function append(path, text)
	local f = vm:open_file(path, {append = true, create = true})
	f:write(text)
	f:close()
end

test("a tail begins where it is told", function(t)
	vm:write_file("/tmp/f", "0123456789")
	local from = {}
	for name, start in pairs({["end"] = "end", beginning = "beginning", start = "start", six = 6, last = -3, float = 7.9}) do
		from[name] = vm:tail_file("/tmp/f", {start = start})
	end
	local default = vm:tail_file("/tmp/f")
	append("/tmp/f", "new\n")
	local expected = {["end"] = "new\n", beginning = "0123456789new\n", start = "0123456789new\n", six = "6789new\n", last = "789new\n", float = "789new\n"}
	for name, tail in pairs(from) do t:assert_eq(tail:read_until("\n"), expected[name], name) end
	t:assert_eq(default:read_until("\n"), "new\n")
	t:assert_eq(vm:open_stream_count(), 7)
	t:assert(not vm:is_quiescent())
	t:assert_contains(tostring(t:assert_raises(function() vm:tail_file("/tmp/f", {start = "middle"}) end)), "start must be")
	t:assert_contains(tostring(t:assert_raises(function() vm:tail_file("/tmp/none") end)), "vm `v`: tail `/tmp/none`: No such file or directory")
end)

test("what a search leaves is pending", function(t)
	vm:write_file("/tmp/p", "one two three")
	local tail <close> = vm:tail_file("/tmp/p", {start = "beginning"})
	t:assert_eq(tail:read_until("one "), "one ")
	t:assert_eq(tail:expect("two"), nil)
	t:assert(not tail:eof())
	t:assert_contains(tostring(t:assert_raises(function() tail:read_until("nine", 0.2) end)), "read_until timed out waiting for `nine`")
	t:assert_contains(tostring(t:assert_raises(function() tail:expect("ten", "100ms") end)), "expect timed out waiting for `ten`")
	t:assert_eq(tail:next(0), " three")
	t:assert_eq(tail:next(0), nil)
	append("/tmp/p", "four")
	t:assert_eq(table.concat(tail:drain()), "four")
	t:assert_eq(#tail:drain(0.1), 0)
end)

test("a closed stream", function(t)
	vm:write_file("/tmp/c", "pending bytes")
	local tail = vm:tail_file("/tmp/c", {start = "beginning"})
	tail:expect("pending")
	local site = tail:creation_site()
	t:assert_contains(site.file, "streams.test.lua")
	t:assert_eq(math.type(site.line), "integer")
	tail:close()
	tail:close()
	while tail:next() do t:fail("there is something after close") end
	t:assert_contains(tostring(t:assert_raises(function() tail:read_until("x") end)), "stream closed")
	t:assert_contains(tostring(t:assert_raises(function() tail:expect("x") end)), "stream closed")
	t:assert_eq(#tail:drain(), 0)
	t:assert_eq(vm:open_stream_count(), 0)
end)

test("a log that is rotated under its daemon is followed without a gap", function(t)
	vm:write_file("/tmp/daemon.sh", [[
		i=0
		trap 'exec >> /tmp/daemon.log' HUP
		exec >> /tmp/daemon.log
		while [ $i -lt 3000 ]; do i=$((i + 1)); echo line $i; done
		echo the end
	]])
	vm:write_file("/tmp/daemon.log", "")
	local tail <close> = vm:tail_file("/tmp/daemon.log", {start = "beginning"})
	vm:run([[sh /tmp/daemon.sh & pid=$!
		for n in 1 2 3; do
			while [ $(wc -l < /tmp/daemon.log) -lt 50 ] && kill -0 $pid 2>/dev/null; do :; done
			mv /tmp/daemon.log /tmp/daemon.log.$n; : > /tmp/daemon.log; kill -HUP $pid 2>/dev/null
		done
		wait]], {timeout = 120}):assert_ok()
	local text, expected = tail:read_until("the end\n", 60), {}
	for i = 1, 3000 do expected[i] = "line " .. i .. "\n" end
	t:assert(text == table.concat(expected) .. "the end\n", "lines are lost or out of order")
	local notices = tail:notices()
	t:log(json.encode(notices))
	t:assert(#notices >= 1, "no rotation was noticed")
	t:assert_eq(notices[1].kind, "rotated")
	t:assert(notices[1].offset > 0 and notices[1].offset < #text)
end)

test("a truncated file ends its stream", function(t)
	vm:write_file("/tmp/t", "some content")
	local tail = vm:tail_file("/tmp/t", {start = "beginning"})
	t:assert_eq(tail:next(), "some content")
	vm:write_file("/tmp/t", "")
	t:assert_eq(tail:next(), nil)
	t:assert(tail:eof())
	t:assert_contains(tostring(t:assert_raises(function() tail:expect("x") end)), "stream EOF")
end)

test("open files are followed", function(t)
	vm:run("mkfifo /tmp/fifo; echo 0123456789 > /tmp/o"):assert_ok()
	local f = vm:open_file("/tmp/o", {read = true})
	f:read(5)
	local tail = f:tail_stream()
	t:assert_eq(tail:read_until("\n"), "56789\n")
	append("/tmp/o", "more\n")
	t:assert_eq(tail:read_until("\n"), "more\n")
	t:assert_eq(f:tell(), 5)
	local p = vm:open_file("/tmp/fifo", {read = true, write = true})
	local stream = vm:fd_stream(p)
	p:write("into the fifo")
	t:assert_eq(stream:next(), "into the fifo")
	stream:close()
	p:write("again")
	t:assert_eq(vm:fd_stream(p:fd()):next(), "again")
	t:assert_contains(tostring(t:assert_raises(function() vm:fd_stream(4711) end)), "no open file has this number")
end)

test("a stream that nobody reads stops its source and nobody else", function(t)
	vm:run("head -c 67108864 /dev/zero > /tmp/big"):assert_ok()
	local tail = vm:tail_file("/tmp/big", {start = "beginning"})
	t:assert_eq(vm:run("echo here").stdout, "here\n")
	local size = 0
	while size < 64 << 20 do size = size + #tail:next() end
	t:assert_eq(size, 64 << 20)
	t:assert_eq(tail:next(0), nil)
	vm:run("rm /tmp/big")
end)

-- What the threads of this process have used that are no processors of guests, in ticks; and how many threads those are.
local function used_by_host()
	local sum, count = 0, 0
	local pipe <close> = io.popen("cat /proc/" .. io.open("/proc/self/stat"):read("n") .. "/task/*/stat")
	for line in pipe:lines() do
		local name, user, system = line:match("%((.*)%) %a " .. ("%S+ "):rep(10) .. "(%d+) (%d+)")
		if not name:find("vcpu") then sum, count = sum + user + system, count + 1 end
	end
	return sum, count
end

test("ten idle streams cost neither the agent nor the host anything", function(t)
	local tails = {}
	vm:write_file("/tmp/idle", "")
	for i = 1, 10 do tails[i] = vm:tail_file("/tmp/idle") end
	local function ticks() return {vm:read_file("/proc/1/stat"):match("%) %a " .. ("%S+ "):rep(10) .. "(%d+) (%d+)")} end
	local before, host_before, threads = ticks(), used_by_host()
	t:assert(threads >= 2, threads .. " threads: the script's and the loop's at least")
	_provium_sleep(2)
	local host = used_by_host() - host_before
	local after = ticks()
	t:assert(host <= 5, "the host used " .. host .. " ticks of its processor in 2 s")
	t:assert(after[1] - before[1] + after[2] - before[2] <= 5, "the agent used " .. after[1] - before[1] + after[2] - before[2] .. " ticks")
end)

test("streams forbid snapshots, by name", function(t)
	vm:write_file("/tmp/s", "")
	local tail = vm:tail_file("/tmp/s")
	local console = vm:console():read()
	local err = tostring(t:assert_raises(function() vm:snapshot() end))
	t:assert_contains(err, "vm:snapshot() failed for `v`: 0 open file handle(s), 2 open stream(s)")
	t:assert_contains(err, "\n  tail_file(/tmp/s) created at tests/guest/streams.test.lua:")
	t:assert_contains(err, "\n  console_read(v) created at tests/guest/streams.test.lua:")
	t:assert_contains(err, "(test \"streams forbid snapshots, by name\")")
	t:assert_contains(err, "close the stream(s)")
	err = tostring(t:assert_raises(function() provium:lab("l"):include({vm}) error(select(2, pcall(provium.snapshot, provium:lab("l"))), 0) end))
	t:assert_contains(err, "tail_file(/tmp/s) created at")
	tail:close()
	console:close()
	vm:snapshot():delete()
end)

test("a console gives what is printed after read()", function(t)
	local console = vm:console()
	vm:run("echo before > /dev/console")
	console:expect("before")
	local stream = console:read()
	vm:run("echo after > /dev/console")
	local text = stream:read_until("after")
	t:assert(not text:find("before"), "old text is in the stream")
	vm:run("echo to hvc0 > /dev/hvc0; echo to ttyS0 > /dev/ttyS0")
	stream:expect("to hvc0")
	t:assert_contains(tostring(t:assert_raises(function() stream:read_until("never", 0.2) end)), "read_until timed out waiting for `never`")
	stream:close()
	t:assert_contains(tostring(t:assert_raises(function() stream:read_until("x") end)), "console closed")
end)

test("the end of the guest is the end of its streams", function(t)
	local w = provium:vm("w", "linux", {memory = "384M"}):boot()
	w:write_file("/tmp/f", "last words")
	local tail, console = w:tail_file("/tmp/f", {start = "beginning"}), w:console():read()
	t:assert_eq(tail:read_until("last"), "last")
	w:pause()
	t:assert_eq(tail:next(), " words")
	t:assert_contains(tostring(t:assert_raises(function() tail:next() end)), "is paused; use resume()")
	w:resume()
	w:reset()
	t:assert_eq(tail:next(), nil)
	t:assert(tail:eof())
	local err = tostring(t:assert_raises(function() tail:expect("more") end))
	t:assert_contains(err, "stream EOF")
	t:assert_contains(err, "the VM was reset")
	while console:next() do end
	t:assert(console:eof())
	t:assert_contains(tostring(t:assert_raises(function() console:expect("zzz") end)), "console EOF")
	local again = w:tail_file("/proc/version")
	w:run("(sleep 1; echo b > /proc/sysrq-trigger) >/dev/null 2>&1 &")
	err = tostring(t:assert_raises(function() again:expect("more", 60) end))
	t:assert_contains(err, "stream EOF")
	w:shutdown()
	t:assert_eq(w:open_stream_count(), 3)
end)

test("and streams end with their test", function(t)
	t:assert_eq(vm:open_stream_count(), 0)
	t:assert(vm:is_quiescent())
end)
