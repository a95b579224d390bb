-- Files and whole trees between host and guest (spec 7.5).
local vm = provium:vm("v", "linux", {memory = "384M"}):boot()

-- A directory of the host for one test.
local function folder()
	local name = os.tmpname()
	os.remove(name)
	assert(os.execute("mkdir " .. name))
	return name
end

local function host(command)
	local pipe = io.popen(command)
	local out = pipe:read("a")
	pipe:close()
	return out
end

local LIST = "cd %s && find . | sort | while read f; do if [ -L $f ]; then echo $f '->' $(readlink $f); elif [ -f $f ]; then echo $f $(stat -c '%%a %%s' $f) $(md5sum < $f); else echo $f $(stat -c '%%a %%F' $f); fi; done"

test("a tree goes into the guest and back, with permissions, links and holes", function(t)
	local dir = folder()
	assert(os.execute("cd " .. dir .. [[ && mkdir -p a/sub/deep a/empty && printf 'x\000y' > a/binary && : > a/nothing &&
		head -c 3000000 /dev/urandom > a/sub/big && ln -s ../binary a/sub/link && ln -s /nowhere a/dangling && mkfifo a/fifo &&
		chmod 751 a/binary && chmod 500 a/sub/deep && truncate -s 300M a/sparse && printf end >> a/sparse]]))
	vm:push_dir(dir .. "/a", "/tmp/pushed")
	t:assert_eq(vm:run(LIST:format("/tmp/pushed"), {timeout = 100}):assert_ok().stdout, host(LIST:format(dir .. "/a")))
	t:assert(tonumber(vm:run("stat -c %b /tmp/pushed/sparse").stdout) < 100, "the holes were filled in the guest")
	vm:pull_dir("/tmp/pushed", dir .. "/back")
	t:assert_eq(host(LIST:format(dir .. "/back")), host(LIST:format(dir .. "/a")))
	t:assert(tonumber(host("stat -c %b " .. dir .. "/back/sparse")) < 100, "the holes were filled on the host")
	os.execute("chmod -R u+w " .. dir .. "; rm -rf " .. dir)
	vm:run("rm -r /tmp/pushed")
end)

test("a file of 64 MiB goes both ways in constant memory", function(t)
	local function peak() return tonumber(vm:read_file("/proc/1/status"):match("VmHWM:%s*(%d+)")) end
	local dir = folder()
	assert(os.execute("head -c 67108864 /dev/urandom > " .. dir .. "/big"))
	vm:read_file("/proc/version")
	local before = peak()
	vm:push_file(dir .. "/big", "/tmp/big")
	vm:pull_file("/tmp/big", dir .. "/back")
	t:assert(peak() < before + 4096, "the agent grew by " .. peak() - before .. " KiB")
	t:assert(os.execute("cmp " .. dir .. "/big " .. dir .. "/back"), "the content differs")
	os.execute("rm -rf " .. dir)
	vm:run("rm /tmp/big")
end)

test("nothing outside of the directory is written, whatever the guest has", function(t)
	local dir = folder()
	assert(os.execute("cd " .. dir .. " && mkdir in outside && printf good > outside/victim && ln -s ../outside in/way && ln -s ../outside/victim in/file"))
	vm:run("mkdir -p /tmp/evil/way; echo evil > /tmp/evil/way/victim; echo evil > /tmp/evil/file"):assert_ok()
	t:assert_contains(tostring(t:assert_raises(function() vm:pull_dir("/tmp/evil", dir .. "/in") end)), "vm:pull_dir: write `" .. dir .. "/in/way` failed")
	vm:run("rm -r /tmp/evil/way")
	vm:pull_dir("/tmp/evil", dir .. "/in")
	t:assert_eq(host("cat " .. dir .. "/outside/victim"), "good")
	t:assert_eq(host("cat " .. dir .. "/in/file"), "evil\n")
	os.execute("rm -rf " .. dir)
end)

test("errors say which end", function(t)
	t:assert_contains(tostring(t:assert_raises(function() vm:push_dir("no-such-folder", "/tmp/x") end)), "vm:push_dir: read `")
	t:assert_contains(tostring(t:assert_raises(function() vm:push_file("trees.test.lua", "/none/x") end)), "vm `v`: push `/none/x`: No such file or directory")
	t:assert_contains(tostring(t:assert_raises(function() vm:pull_file("/none", "/tmp/x") end)), "vm `v`: pull `/none`: No such file or directory")
	t:assert_contains(tostring(t:assert_raises(function() vm:pull_dir("/proc/version", "/tmp/x") end)), "Not a directory")
end)
